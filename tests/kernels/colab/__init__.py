"""A stand-in for Google Colab: its secrets, and the page that answers for them.

``site`` is put on a kernel's path, where it is imported as ``google.colab``; the page
is ``ColabPage``. They speak the protocol of googlecolab/colabtools
(``userdata.py``, ``_message.py``): a ``colab_request`` on the kernel's output channel,
a ``colab_reply`` on its input channel, and a cell that blocks meanwhile.
"""

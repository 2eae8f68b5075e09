"""Google Colab recreated: a kernel as it starts one, and the page that answers it.

The kernel's side is ``tests.colab_stand_in``. Both speak the protocol of
googlecolab/colabtools (``userdata.py``, ``_message.py``): a ``colab_request`` on the
kernel's output channel, a ``colab_reply`` on its input channel, and a cell that blocks
meanwhile.
"""

"""Networks on virtual functions of NICs (SR-IOV): a guest has a piece of the NIC itself."""

-- nics.lua: the NICs that the machine can have, by the names of `make test-vm NIC=...`.

---@class etherlua.vm_nic
---@field name string
---@field device string what qemu calls it
---@field driver string that Linux has for it
---@field queues integer receive queues
---@field native? string the first Linux whose driver runs XDP programs; nil: none
---@field zero_copy? string the first Linux whose driver has zero-copy AF_XDP; nil: none
return {
  { name = "virtio", device = "virtio-net-pci", driver = "virtio_net", queues = 1, native = "4.10",
    zero_copy = "6.13" },
  { name = "virtio4", device = "virtio-net-pci", driver = "virtio_net", queues = 4, native = "4.10",
    zero_copy = "6.13" },
  { name = "vmxnet3", device = "vmxnet3", driver = "vmxnet3", queues = 2, native = "6.6" },
  { name = "e1000e", device = "e1000e", driver = "e1000e", queues = 1 },
  { name = "e1000", device = "e1000", driver = "e1000", queues = 1 },
}

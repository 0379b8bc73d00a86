---@meta

-- The name under which `corowatch` can be had where another module is called `corowatch`.

return require "corowatch"

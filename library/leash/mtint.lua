---@meta

-- The name under which `mtint` can be had where another module is called `mtint`.

return require "mtint"

-- A module that is endless, required again and again.

package.preload.evasion_module = function() while true do end end
while true do
  package.loaded.evasion_module = nil
  pcall(require, "evasion_module")
end

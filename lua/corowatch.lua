return require "leash.corowatch"

return require "leash.mtint"

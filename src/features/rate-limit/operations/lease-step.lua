-- The steps of apply.lua as a function: what ARGV asks, with another action and other costs.
local asked = policy
local function step(action, costs)
  local function policy(i)
    local algorithm, name, limit, window, parameter, _, blockFor, blockMax, override = asked(i)
    return algorithm, name, limit, window, parameter, costs[i], blockFor, blockMax, override
  end
  STEP
end

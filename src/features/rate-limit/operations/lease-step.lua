-- The steps of apply.lua as a function: what ARGV asks, with another action and other costs. `lease` and `granted`
-- are those of each policy whose units are leased or given back.
local asked = policy
local function step(action, costs, lease, granted)
  local function policy(i)
    local algorithm, name, limit, window, parameter, _, blockFor, blockMax, override = asked(i)
    return algorithm, name, limit, window, parameter, costs[i], blockFor, blockMax, override,
      lease, granted and granted[i]
  end
  STEP
end

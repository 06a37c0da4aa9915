-- Gives back what is left of the caller's last lease, consumes, and leases units to the caller. Keys and ARGV are
-- those of apply.lua. `action` is 'consume', 'countDenied', or 'giveBack', which does nothing more. `chargedAt` is
-- when the last lease was granted. Behind them stand four values for each policy, then the time of a lease (ms):
--   back     units to give back
--   granted  units of which those are the rest, where the algorithm holds leased units; 0 elsewhere
--   want     units that the caller can use
--   band     units that stay unleased
--
-- Reply: that of apply.lua, then one double for each policy: the units leased. Either each policy leases at least
-- another such cost, or none leases any. Leased units are charged, as if they were used now, or held.
local costs, back, granted, returns = {}, {}, {}, false
local from = 3 + n * 9
local lease = tonumber(ARGV[from + n * 4 + 1])
for i = 1, n do
  local at = from + i * 4
  costs[i], back[i] = tonumber(ARGV[i * 9]), tonumber(ARGV[at - 3])
  local units = tonumber(ARGV[at - 2])
  if units > 0 then granted[i] = units end
  if back[i] > 0 or units > 0 then returns = true end
end
local reply
if returns then reply = step('refund', back, lease, granted) end
if action == 'giveBack' then return reply end
reply = step(action, costs)
local leased, isLeased = {}, read('<d', reply) == 1
for i = 1, n do
  leased[i] = 0
  if isLeased then
    local limit, remaining = read('<dd', reply, i * 40 - 23)
    local want, band = tonumber(ARGV[from + i * 4 - 1]), tonumber(ARGV[from + i * 4])
    leased[i] = max(0, min(want, floor(limit / SHARE), floor((remaining - band) / PART)))
    if leased[i] < costs[i] then isLeased = false end
  end
end
if isLeased then reply = step('charge', leased, lease) end
for i = 1, n do
  if not isLeased then leased[i] = 0 end
  reply = reply .. pack('<d', leased[i])
end
return reply

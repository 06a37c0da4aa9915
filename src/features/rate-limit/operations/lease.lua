-- Gives back what is left of the caller's last lease, consumes, and leases units to the caller. Keys and ARGV are
-- those of apply.lua. `action` is 'consume' or 'countDenied', and `chargedAt` is when the last lease was granted.
-- Behind them stand three values for each policy:
--   back     units to give back
--   want     units that the caller can use
--   band     units that stay unleased
--
-- Reply: that of apply.lua, then one double for each policy: the units leased. Either each policy leases at least
-- another such cost, or none leases any. Leased units are charged, as if they were used now.
local costs, back, returns = {}, {}, false
local from = 3 + n * 9
for i = 1, n do
  costs[i], back[i] = tonumber(ARGV[i * 9]), tonumber(ARGV[from + i * 3 - 2])
  if back[i] > 0 then returns = true end
end
if returns then step('refund', back) end
local reply = step(action, costs)
local leased, isLeased = {}, read('<d', reply) == 1
for i = 1, n do
  leased[i] = 0
  if isLeased then
    local limit, remaining = read('<dd', reply, i * 40 - 23)
    local _, want, band = unpack(ARGV, from + i * 3 - 2, from + i * 3)
    leased[i] = max(0, min(tonumber(want), floor(limit / SHARE), floor((remaining - tonumber(band)) / PART)))
    if leased[i] < costs[i] then isLeased = false end
  end
end
if isLeased then reply = step('charge', leased) end
for i = 1, n do
  if not isLeased then leased[i] = 0 end
  reply = reply .. pack('<d', leased[i])
end
return reply

-- Applies several policies of one subject in one step: all are charged, or none. In front of this stand
--   arguments.lua, or the same written out where it is known in advance (script.ts): `action`, `n`, `chargedAt`, `policy(i)`
--   states.lua, which reads the states
--   functions of the algorithms
--   inspect.lua, which inspects every policy and decides
--
-- KEYS[1..n]   one state for each policy
-- KEYS[n+1..]  optional: hashes of overrides, policy name -> limit. Their field '~', in ms, is the time to live
--              that the hash gets again when less than half of it is left
-- action       'consume' | 'countDenied': consume, and charge a denied request, too | 'peek'
--              'charge': also beyond the limit | 'refund' | 'block': by policy 1, for `cost` ms
-- chargedAt    'refund': when, in ms, the charge was made; 0: unknown
-- policy(i)    returns nine values:
--   algorithm  the code of one
--   name, limit, window (ms)
--   parameter  what the algorithm needs besides, or nil
--   cost       in units
--   blockFor   ms that a refusal blocks for, doubled by each repetition, 0: none; then the longest such block
--   override   which hash of overrides applies, from 1; 0: none
-- Of lease.lua's steps it returns two more:
--   lease      'charge': the units are leased for so many ms | 'refund': so long were they leased
--   granted    'refund': units that were leased, of which `cost` were not used
--
-- Reply: doubles, the least byte first: 1 allowed | 0 denied, now, then 5 for each policy: limit, remaining, reset (ms), retry (ms), violated
--   reset      until the oldest counted use leaves, the period ends, or one more unit is free
--   retry      0 at once | -1 never | ms until the same cost is admitted
--   violated   0 no | 1 over the limit | 2 blocked
-- or -1, now and no effect: a calendar period does not contain `now`.
--
-- State: one string: HEADER, BLOCK if there is one, then the algorithm's own. A key may outlive what it counts by up
-- to an eighth. To set a time to live costs as much as to write the state, so one is set for several charges.
local chargesDenied = action == 'countDenied' and allowed == 0
local reply = pack('<dd', allowed, now)
for i = 1, n do
  local k = (i - 1) * SEEN_SIZE
  local algorithm, _, _, window, parameter, cost, blockFor, blockMax, _, lease, granted = policy(i)
  local limit, expires, violated = seen[k + 1], seen[k + 2], seen[k + 3]
  local blockEnd, strikes, blockLength = seen[k + 4], seen[k + 5], seen[k + 6]
  local remaining, reset, retry = 0, 0, 0
  local asksForRetry = judges and cost > 0 and (violated > 0 or chargesDenied)
  local startsBlock = violated == 1 and blockFor > 0 and action ~= 'peek'
  local mayBlock = startsBlock or action == 'block' and i == 1
  -- Set by the algorithm: was the state changed, its bytes, until when it counts, and how much longer its key may live.
  local changed, state, countsUntil, spare = false, '', 0, 0
  local units = 0
  if action == 'charge' or consumes and allowed == 1 then units = cost end
  APPLY

  if startsBlock then
    blockLength = min(blockFor * 2 ^ strikes, max(blockFor, blockMax))
    blockEnd = now + blockLength
    strikes = min(strikes + 1, 65535)
    changed = true
  elseif action == 'block' and i == 1 and cost > 0 and now + cost > blockEnd then
    blockEnd, blockLength, violated = now + cost, cost, 2
    changed = true
  end
  if changed then
    local isBlocked, block = 0, ''
    if blockEnd > 0 then
      isBlocked, block = 1, pack(BLOCK, blockEnd, strikes, blockLength)
      local memory = blockEnd
      if strikes > 0 then memory = blockEnd + max(window, blockLength) + 1 end
      countsUntil, spare = max(countsUntil, memory), 0
    end
    if countsUntil <= now then
      call('DEL', KEYS[i])
    elseif expires >= countsUntil and expires <= countsUntil + spare then
      call('SET', KEYS[i], pack(HEADER, expires, isBlocked) .. block .. state, 'KEEPTTL')
    else
      expires = countsUntil + spare
      -- Redis itself writes a number to the last digit.
      call('SET', KEYS[i], pack(HEADER, expires, isBlocked) .. block .. state, 'PX', expires - now)
    end
  end

  if blockEnd > now then
    remaining, reset = 0, blockEnd - now
    if retry >= 0 then retry = max(retry, reset) end
  end
  reply = reply .. pack('<ddddd', limit, remaining, reset, retry, violated)
end
return reply

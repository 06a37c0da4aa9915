-- `held` is the level of the units that processes hold. They do not drain.
local clock, level, drainedAt, mark, low, lowBefore, leases, held = now, 0, now, now, 0, 0, '', 0
if value ~= '' then
  local time, storedLevel, storedEnd, storedWindow, storedMark, storedLow, storedBefore = read(STATE, value)
  -- A state that is newer than `now` by more than the window was written before the clock was set back.
  if now < storedEnd and time - now <= window then
    clock, level, drainedAt, mark, low, lowBefore = max(now, time), storedLevel, storedEnd, storedMark, storedLow, storedBefore
    if storedWindow ~= window then
      level = ceil(level / storedWindow * window)
      low, lowBefore = floor(low / storedWindow * window), floor(lowBefore / storedWindow * window)
    end
    for from = STATE_SIZE + 1, #value, LEASE_SIZE do
      local ends, units = read(LEASE, value, from)
      if ends > clock then
        leases, held = leases .. sub(value, from, from + LEASE_SIZE - 1), held + units * window
      else
        -- Their process has not said how many it used. They count as used at their end.
        level = max(0, level - max(0, ends - time) * limit)
        low, time = min(low, level), max(time, ends)
        level = level + units * window
      end
    end
    level = max(0, level - (clock - time) * limit)
    low = min(low, level)
  end
end
exceeds = limit == 0 or level + held + cost * window > parameter * window

local clock, level, drainedAt, mark, low, lowBefore = now, 0, now, now, 0, 0
if value ~= '' then
  local time, storedLevel, storedEnd, storedWindow, storedMark, storedLow, storedBefore = read(STATE, value)
  -- A state that is newer than `now` by more than the window was written before the clock was set back.
  if now < storedEnd and time - now <= window then
    clock, level, drainedAt, mark, low, lowBefore = max(now, time), storedLevel, storedEnd, storedMark, storedLow, storedBefore
    if storedWindow ~= window then
      level = ceil(level / storedWindow * window)
      low, lowBefore = floor(low / storedWindow * window), floor(lowBefore / storedWindow * window)
    end
    level = max(0, level - (clock - time) * limit)
    low = min(low, level)
  end
end
exceeds = limit == 0 or level + cost * window > parameter * window

local value_ = call('GET', KEYS[I])
local expires_, level_, mark_, low_, lowBefore_ = 0, 0, now, 0, 0
if value_ then
  -- Leases follow the state.
  if #value_ > HEAD_END + 1 then break end
  local isBlocked, time, level, drainedAt, window, mark, low, lowBefore
  expires_, isBlocked, time, level, drainedAt, window, mark, low, lowBefore = read(HEADED_STATE, value_)
  if isBlocked > 0 or time > now or mark > now or window ~= WINDOW then break end
  if now < drainedAt then
    level_, mark_, low_, lowBefore_ = level - (now - time) * LIMIT, mark, low, lowBefore
    if level_ < 0 then level_ = 0 end
    if low_ > level_ then low_ = level_ end
  end
  if level_ + RISE > CAPACITY then break end
end

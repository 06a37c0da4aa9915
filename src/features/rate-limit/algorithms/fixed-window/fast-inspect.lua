local value_ = call('GET', KEYS[I])
local expires_, periodEnd_, count_ = 0, now - now % WINDOW + WINDOW, 0
if value_ then
  local isBlocked, storedEnd, storedCount
  expires_, isBlocked, storedEnd, storedCount = read(HEADED_STATE, value_)
  if isBlocked > 0 then break end
  if storedEnd > now and storedEnd <= now + 2 * WINDOW then
    if storedEnd > periodEnd_ then periodEnd_ = storedEnd end
    count_ = storedCount
  end
  if count_ + COST > LIMIT then break end
end

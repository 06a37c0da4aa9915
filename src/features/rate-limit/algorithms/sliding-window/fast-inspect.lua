-- Only the beginning of the state is read and written. Lua hashes each byte of a string, and with
-- all runs that would cost more than the rest of the decision.
local head_ = call('GETRANGE', KEYS[I], 0, HEAD_END)
local expires_, total_, last_, lastUnits_, first_, firstUnits_, start_, held_, slots_ = 0, 0, 0, 0, 0, 0, 0, 0, 0
if head_ ~= '' then
  local isBlocked
  expires_, isBlocked, total_, last_, lastUnits_, first_, firstUnits_, start_, held_, slots_ = read(HEADED_STATE, head_)
  if isBlocked > 0 or last_ > now then break end
  local edge = now - WINDOW
  if last_ <= edge then
    total_ = 0
  else
    while first_ <= edge do
      total_ = total_ - firstUnits_
      if held_ > 0 then
        local at = HEAD_END + 1 + start_ * RUN_SIZE
        first_, firstUnits_ = read(RUN, call('GETRANGE', KEYS[I], at, at + RUN_SIZE - 1))
        held_, start_ = held_ - 1, (start_ + 1) % slots_
      else
        first_, firstUnits_ = last_, lastUnits_
      end
    end
    if total_ + COST > LIMIT then break end
    if held_ == slots_ and first_ < last_ and last_ < now - now % CELL then break end
  end
end

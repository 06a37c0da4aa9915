if total_ == 0 then
  head_ = pack(HEADED_STATE, now + LIFE, 0, COST, now, COST, now, COST, 0, 0, 0)
  call('SET', KEYS[I], head_, 'PX', LIFE)
  first_ = now
else
  if last_ >= now - now % CELL then
    lastUnits_ = lastUnits_ + COST
    if first_ == last_ then first_, firstUnits_ = now, lastUnits_ end
  else
    if first_ < last_ then
      local slot = (start_ + held_) % slots_
      call('SETRANGE', KEYS[I], HEAD_END + 1 + slot * RUN_SIZE, pack(RUN, last_, lastUnits_))
      held_ = held_ + 1
    end
    lastUnits_ = COST
  end
  local late = expires_ < now + WINDOW or expires_ > now + LIFE
  if late then expires_ = now + LIFE end
  head_ = pack(HEADED_STATE,
    expires_, 0, total_ + COST, now, lastUnits_, first_, firstUnits_, start_, held_, slots_)
  call('SETRANGE', KEYS[I], 0, head_)
  if late then call('PEXPIRE', KEYS[I], LIFE) end
end
local remaining_, reset_ = LIMIT - COST - total_, first_ + WINDOW - now

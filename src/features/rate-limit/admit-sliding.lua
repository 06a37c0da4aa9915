-- A sliding window of take.lua that admits: see admit.ts. Only the state's head is read and written: Lua hashes each
-- byte of a text, and with all the runs that would cost more than the rest of the decision.
local head_ = call('GETRANGE', KEYS[I], 0, 36)
local expires_, total_, last_, count_, first_, units_, start_, middle_, cap_ = 0, 0, 0, 0, 0, 0, 0, 0, 0
if head_ ~= '' then
  local block
  expires_, block, total_, last_, count_, first_, units_, start_, middle_, cap_ = read('>I6BI5I6I5I6I5BBB', head_)
  if block > 0 or last_ > now then break end
  local edge = now - WINDOW
  if last_ <= edge then
    total_ = 0
  else
    while first_ <= edge do
      total_ = total_ - units_
      if middle_ > 0 then
        local at = 37 + start_ * 11
        first_, units_ = read('>I6I5', call('GETRANGE', KEYS[I], at, at + 10))
        middle_, start_ = middle_ - 1, (start_ + 1) % cap_
      else
        first_, units_ = last_, count_
      end
    end
    if total_ + COST > LIMIT then break end
    if middle_ == cap_ and first_ < last_ and last_ < now - now % CELL then break end
  end
end
-- CHARGE
if total_ == 0 then
  head_ = pack('>I6BI5I6I5I6I5BBB', now + LIFE, 0, COST, now, COST, now, COST, 0, 0, 0)
  call('SET', KEYS[I], head_, 'PX', LIFE)
  first_ = now
else
  if last_ >= now - now % CELL then
    count_ = count_ + COST
    if first_ == last_ then first_, units_ = now, count_ end
  else
    if first_ < last_ then
      call('SETRANGE', KEYS[I], 37 + (start_ + middle_) % cap_ * 11, pack('>I6I5', last_, count_))
      middle_ = middle_ + 1
    end
    count_ = COST
  end
  local late = expires_ < now + WINDOW or expires_ > now + LIFE
  if late then expires_ = now + LIFE end
  head_ = pack('>I6BI5I6I5I6I5BBB',
    expires_, 0, total_ + COST, now, count_, first_, units_, start_, middle_, cap_)
  call('SETRANGE', KEYS[I], 0, head_)
  if late then call('PEXPIRE', KEYS[I], LIFE) end
end
local remaining_, reset_ = LIMIT - COST - total_, first_ + WINDOW - now

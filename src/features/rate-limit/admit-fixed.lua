-- A fixed window of take.lua that admits: see admit.ts.
local value_ = call('GET', KEYS[I])
local expires_, ends_, count_ = 0, now - now % WINDOW + WINDOW, 0
if value_ then
  local block, stored, units
  expires_, block, stored, units = read('>I6BI6I6', value_)
  if block > 0 then break end
  if stored > now and stored <= now + TWICE then
    if stored > ends_ then ends_ = stored end
    count_ = units
  end
  if count_ + COST > LIMIT then break end
end
-- CHARGE
local remaining_, reset_ = LIMIT - COST - count_, ends_ - now
if expires_ == ends_ then
  call('SET', KEYS[I], pack('>I6BI6I6', expires_, 0, ends_, count_ + COST), 'KEEPTTL')
else
  call('SET', KEYS[I], pack('>I6BI6I6', ends_, 0, ends_, count_ + COST), 'PX', ends_ - now)
end

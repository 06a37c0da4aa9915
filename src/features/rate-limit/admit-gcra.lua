-- A GCRA of take.lua that admits: see admit.ts.
local value_ = call('GET', KEYS[I])
local expires_, level_, mark_, low_, before_ = 0, 0, now, 0, 0
if value_ then
  local block, time, level, stop, base, mark, low, before
  expires_, block, time, level, stop, base, mark, low, before = read('>I6BI6dI6I6I6dd', value_)
  if block > 0 or time > now or mark > now or base ~= WINDOW then break end
  if now < stop then
    level_, mark_, low_, before_ = level - (now - time) * LIMIT, mark, low, before
    if level_ < 0 then level_ = 0 end
    if low_ > level_ then low_ = level_ end
  end
  if level_ + RISE > CAPACITY then break end
end
-- CHARGE
if now - mark_ >= WINDOW then
  if now - mark_ < TWICE then before_ = low_ else before_ = 0 end
  mark_, low_ = now, level_
end
level_ = level_ + RISE
local stop_ = now + math.min(math.ceil(level_ / LIMIT), LONGEST)
local remaining_ = math.floor((CAPACITY - level_) / WINDOW)
local reset_ = math.min(math.ceil((level_ - (AUX - remaining_ - 1) * WINDOW) / LIMIT), stop_ - now)
if reset_ < 0 then reset_ = 0 end
local spare_ = math.floor((stop_ - now) / 8)
local keeps_ = expires_ >= stop_ and expires_ <= stop_ + spare_
if not keeps_ then expires_ = stop_ + spare_ end
local state_ = pack('>I6BI6dI6I6I6dd', expires_, 0, now, level_, stop_, WINDOW, mark_, low_, before_)
if keeps_ then call('SET', KEYS[I], state_, 'KEEPTTL') else call('SET', KEYS[I], state_, 'PX', expires_ - now) end

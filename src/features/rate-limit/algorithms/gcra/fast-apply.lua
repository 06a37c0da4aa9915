if now - mark_ >= WINDOW then
  if now - mark_ < 2 * WINDOW then lowBefore_ = low_ else lowBefore_ = 0 end
  mark_, low_ = now, level_
end
level_ = level_ + RISE
local drainedAt_ = now + math.min(math.ceil(level_ / LIMIT), MAX_MS)
local remaining_ = math.floor((CAPACITY - level_) / WINDOW)
local reset_ = math.min(math.ceil((level_ - (BURST - remaining_ - 1) * WINDOW) / LIMIT), drainedAt_ - now)
if reset_ < 0 then reset_ = 0 end
local spare_ = math.floor((drainedAt_ - now) / 8)
local isKept_ = expires_ >= drainedAt_ and expires_ <= drainedAt_ + spare_
if not isKept_ then expires_ = drainedAt_ + spare_ end
local state_ = pack(HEADED_STATE, expires_, 0, now, level_, drainedAt_, WINDOW, mark_, low_, lowBefore_)
if isKept_ then call('SET', KEYS[I], state_, 'KEEPTTL') else call('SET', KEYS[I], state_, 'PX', expires_ - now) end

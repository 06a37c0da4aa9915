-- The runs of `log` from `from` on are in the window. They hold `total` units, the first of them at `first`.
local log, from, total, first, last, lastUnits, clock = '', 1, 0, 0, 0, 0, now
if value ~= '' then
  local firstUnits, start, held, slots
  total, last, lastUnits, first, firstUnits, start, held, slots = read(STATE, value)
  if total > 0 and first == last then
    log = sub(value, LAST_RUN, LAST_RUN + RUN_SIZE - 1)
  elseif total > 0 then
    local stop = start + held
    local between = sub(value, SLOTS + start * RUN_SIZE, SLOTS - 1 + min(stop, slots) * RUN_SIZE)
    if stop > slots then between = between .. sub(value, SLOTS, SLOTS - 1 + (stop - slots) * RUN_SIZE) end
    log = sub(value, FIRST_RUN, FIRST_RUN + RUN_SIZE - 1) .. between .. sub(value, LAST_RUN, LAST_RUN + RUN_SIZE - 1)
  end
end
local size = #log
-- A log that is newer than `now` by more than the window was written before the clock was set back.
if total > 0 and last - now <= window then
  clock = max(now, last)
  local edge = clock - window
  while first <= edge do
    local _, units = read(RUN, log, from)
    total = total - units
    from = from + RUN_SIZE
    if from > size then break end
    first = read(RUN, log, from)
  end
else
  from, total = size + 1, 0
end
exceeds = total + cost > limit

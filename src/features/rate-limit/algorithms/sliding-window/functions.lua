-- The log of a sliding window: runs of (time of the last use, units).

-- Returns the ms until `need` units have left the runs of `log` from `from` on.
local function departure(log, from, need, window)
  while from < #log do
    local time, units = read(RUN, log, from)
    need = need - units
    if need <= 0 then return time + window - now end
    from = from + RUN_SIZE
  end
  return 0
end

-- Returns `log` with the runs of each cell of time as one.
local function compacted(log, cell)
  local result, time, sum = '', 0, 0
  for from = 1, #log, RUN_SIZE do
    local next, units = read(RUN, log, from)
    if sum > 0 and floor(next / cell) ~= floor(time / cell) then
      result = result .. pack(RUN, time, sum)
      sum = 0
    end
    time = next
    sum = sum + units
  end
  return result .. pack(RUN, time, sum)
end

-- Returns the state for the runs of `log` from `from` on. The ring has half as many slots again, `most` in all.
local function packed(total, log, from, most)
  local held = max(0, (#log - from + 1) / RUN_SIZE - 2)
  local slots = held
  if held > 0 then slots = max(held, min(most, held + max(4, floor(held / 2)))) end
  return pack(TOTAL, total) .. sub(log, -RUN_SIZE) .. sub(log, from, from + RUN_SIZE - 1) .. pack(RING, 0, held, slots)
    .. sub(log, from + RUN_SIZE, -RUN_SIZE - 1) .. string.rep('\0', (slots - held) * RUN_SIZE)
end

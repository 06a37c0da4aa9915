-- The log of a sliding window, as take.lua keeps it: runs of (last time >I6, count >I5).
local floor, max, min = math.floor, math.max, math.min

-- Ms until `need` units have left the runs of `log` from `pos` on.
local function departure(log, pos, need, window)
  while pos < #log do
    local time, count = read('>I6I5', log, pos)
    need = need - count
    if need <= 0 then return time + window - now end
    pos = pos + 11
  end
  return 0
end

-- The runs of `log` with those in the same cell of time as one.
local function compacted(log, cell)
  local result, time, sum = '', 0, 0
  for pos = 1, #log, 11 do
    local next, count = read('>I6I5', log, pos)
    if sum > 0 and floor(next / cell) ~= floor(time / cell) then
      result = result .. pack('>I6I5', time, sum)
      sum = 0
    end
    time = next
    sum = sum + count
  end
  return result .. pack('>I6I5', time, sum)
end

local NOTHING = string.rep('\0', 30)

-- The runs of `log` from `pos` on, as they are kept: with room for as many again by half, `most` in all.
local function kept(log, pos, most)
  local middle = max(0, (#log - pos + 1) / 11 - 2)
  local cap = middle
  if middle > 0 then cap = max(middle, min(most, middle + max(4, floor(middle / 2)))) end
  return sub(log, -11) .. sub(log, pos, pos + 10) .. pack('BBB', 0, middle, cap)
    .. sub(log, pos + 11, -12) .. string.rep('\0', (cap - middle) * 11)
end


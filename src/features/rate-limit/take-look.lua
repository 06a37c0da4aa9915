-- Looks at every policy of take.lua, whose head explains the terms, and decides: `allowed`.
local ceil = math.ceil
local MOST = 1099511627775 -- units in a run: 5 bytes
local LONGEST = 10000000000000 -- ms: what 6 bytes hold, and what a reply tells to the last digit
local judged = verb == 'c' or verb == 'd' or verb == 'p'
local allowed = 1

-- `seen` keeps 13 values of each policy for take.lua; filled here, Lua allots it once for three policies.
local seen = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
for i = 1, n do
  local k = i * 13 - 13
  local algorithm, name, limit, window, aux, cost, _, _, own = policy(i)
  if own > 0 and ownLives[own] ~= -2 then
    local value = call('HGET', KEYS[n + own], name)
    if value and #value <= 13 and string.find(value, '^%d+$') and tonumber(value) <= 1000000000000 then
      limit = tonumber(value)
    end
  end

  local value = values[i] or call('GET', KEYS[i]) or ''
  local expires, ends, strikes, length = 0, 0, 0, 0
  if value ~= '' then
    local blocked
    expires, blocked = read('>I6B', value)
    if blocked == 0 then
      value = sub(value, 8)
    else
      ends, strikes, length = read('>I6I2I6', value, 8)
      value = sub(value, 22)
      local memory = max(window, length)
      if strikes == 0 and now >= ends or now > ends + memory or ends - now > length + memory then
        ends, strikes, length = 0, 0, 0
      end
    end
  end

  local over = false
  local clock, x, y, z = now, 0, 0, 0
  local last, count = 0, 0 -- 's': the last run
  if algorithm == 's' then
    -- value: the runs, x: where the live ones begin, y: their total, z: the time of the first
    local total, first = 0, 0
    if value ~= '' then
      local start, middle, cap
      total, last, count, first, start, middle, cap = read('>I5I6I5I6xxxxxBBB', value)
      if total == 0 then
        value = ''
      elseif first == last then
        value = sub(value, 6, 16)
      else
        local stop = start + middle
        local runs = sub(value, 31 + start * 11, 30 + min(stop, cap) * 11)
        if stop > cap then runs = runs .. sub(value, 31, 30 + (stop - cap) * 11) end
        value = sub(value, 17, 27) .. runs .. sub(value, 6, 16)
      end
    end
    local size = #value
    x = size + 1
    if total > 0 and last - now <= window then
      clock = max(now, last)
      local edge = clock - window
      x, y, z = 1, total, first
      while z <= edge do
        local _, units = read('>I6I5', value, x)
        y = y - units
        x = x + 11
        if x > size then break end
        z = read('>I6', value, x)
      end
    end
    over = y + cost > limit
  elseif algorithm == 'f' then
    -- x: the period's end, y: its count
    if aux then
      x = aux + window
      if now < aux or now >= x then return pack('<dd', -1, now) end
    else
      x = (floor(now / window) + 1) * window
    end
    if value ~= '' then
      local stored, count = read('>I6I6', value)
      if stored > now and stored - now <= 2 * window then
        x = max(x, stored)
        y = count
      end
    end
    over = y + cost > limit
  else
    -- x: the level, y and z: its low-water marks of this and the last span
    if value ~= '' then
      local time, stop, base, mark
      time, x, stop, base, mark, y, z = read('>I6dI6I6I6dd', value)
      if now >= stop or time - now > window then
        value, x, y, z = '', 0, 0, 0
      else
        clock = max(now, time)
        if base ~= window then
          x, y, z = ceil(x / base * window), floor(y / base * window), floor(z / base * window)
        end
        x = max(0, x - (clock - time) * limit)
        y = min(y, x)
      end
    end
    over = limit == 0 or x + cost * window > aux * window
  end

  local violated = 0
  if ends > now then
    violated = 2
  elseif judged and cost > 0 and over then
    violated = 1
  end
  if judged and violated > 0 then allowed = 0 end
  seen[k + 1], seen[k + 2], seen[k + 3], seen[k + 4], seen[k + 5] = limit, value, ends, strikes, length
  seen[k + 6], seen[k + 7], seen[k + 8], seen[k + 9], seen[k + 10] = clock, x, y, z, violated
  seen[k + 11], seen[k + 12], seen[k + 13] = last, count, expires
end

for j = n + 1, #KEYS do
  local life = ownLives[j - n]
  if life ~= -2 then
    local renewal = tonumber(call('HGET', KEYS[j], '~') or '')
    if renewal and life < renewal / 2 then call('PEXPIRE', KEYS[j], string.format('%.0f', renewal)) end
  end
end

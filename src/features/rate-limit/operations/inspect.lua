-- Inspects every policy of apply.lua, which explains the terms, and decides: `allowed`.
local consumes = action == 'consume' or action == 'countDenied'
local judges = consumes or action == 'peek'
local allowed = 1

-- `seen` keeps what apply.lua needs of each policy. Filled here, Lua allocates it once for three policies.
local seen = SEEN
for i = 1, n do
  local k = (i - 1) * SEEN_SIZE
  local algorithm, name, limit, window, parameter, cost, _, _, override = policy(i)
  if override > 0 and overrideLives[override] ~= -2 then
    local own = call('HGET', KEYS[n + override], name)
    if own and #own <= 13 and string.find(own, '^%d+$') and tonumber(own) <= MAX_LIMIT then
      limit = tonumber(own)
    end
  end

  local value = values[i]
  -- MGET returns nothing for a value of another type. GET fails, as it must.
  if not value then value = n > 1 and call('GET', KEYS[i]) or '' end
  local expires, blockEnd, strikes, blockLength = 0, 0, 0, 0
  if value ~= '' then
    local isBlocked
    expires, isBlocked = read(HEADER, value)
    if isBlocked == 0 then
      value = sub(value, HEADER_SIZE + 1)
    else
      blockEnd, strikes, blockLength = read(BLOCK, value, HEADER_SIZE + 1)
      value = sub(value, HEADER_SIZE + BLOCK_SIZE + 1)
      local memory = max(window, blockLength)
      local isOver = strikes == 0 and now >= blockEnd or now > blockEnd + memory
      -- A block that ends later than it can was made before the clock was set back.
      if isOver or blockEnd - now > blockLength + memory then
        blockEnd, strikes, blockLength = 0, 0, 0
      end
    end
  end

  local exceeds = false
  INSPECT
  local violated = 0
  if blockEnd > now then
    violated = 2
  elseif judges and cost > 0 and exceeds then
    violated = 1
  end
  if judges and violated > 0 then allowed = 0 end
  seen[k + 1], seen[k + 2], seen[k + 3] = limit, expires, violated
  seen[k + 4], seen[k + 5], seen[k + 6] = blockEnd, strikes, blockLength
end

for j = n + 1, #KEYS do
  local life = overrideLives[j - n]
  if life ~= -2 then
    local renewal = tonumber(call('HGET', KEYS[j], '~') or '')
    if renewal and life < renewal / 2 then call('PEXPIRE', KEYS[j], string.format('%.0f', renewal)) end
  end
end

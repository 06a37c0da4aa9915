local periodEnd, count = 0, 0
if parameter then
  periodEnd = parameter + window
  if now < parameter or now >= periodEnd then return pack('<dd', -1, now) end
else
  periodEnd = (floor(now / window) + 1) * window
end
if value ~= '' then
  local storedEnd, storedCount = read(STATE, value)
  if storedEnd > now and storedEnd - now <= 2 * window then
    periodEnd, count = max(periodEnd, storedEnd), storedCount
  end
end
exceeds = count + cost > limit

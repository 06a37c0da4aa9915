-- Stands in front of the scripts that change a record (see begin.lua).
local function running(ends, lease, token, attempts)
  return string.format('%.0f %.0f %.0f %.0f', ends, lease, token, attempts)
end

-- End of the record, end of the lease, token, attempts.
local function times(text)
  local ends, lease, token, attempts = string.match(text, '^(%d+) ?(%d*) ?(%d*) ?(%d*)$')
  return tonumber(ends), tonumber(lease), tonumber(token), tonumber(attempts)
end

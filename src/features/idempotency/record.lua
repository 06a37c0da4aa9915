-- Stands before the scripts that change a record (see begin.lua).
-- Returns the times field of a record that is not completed.
local function times_field(ends, lease, token, attempts)
  return string.format('%.0f %.0f %.0f %.0f', ends, lease, token, attempts)
end

-- Returns the end of the record, the end of the lease, the fencing token, and the number of attempts.
local function times(text)
  local ends, lease, token, attempts = string.match(text, '^(%d+) ?(%d*) ?(%d*) ?(%d*)$')
  return tonumber(ends), tonumber(lease), tonumber(token), tonumber(attempts)
end

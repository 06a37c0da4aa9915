-- Stands in front of the scripts that hold leases: numbers as Redis wants them.
local function whole(number) return string.format('%.0f', number) end

-- Redis forgets a key when nothing in it can matter any more.
local function keep(key, ms) redis.call('PEXPIRE', key, whole(ms)) end

-- Replaces a document if the stored one has the version that the caller has changed.
-- KEYS[1]  the document
-- KEYS[2]  records of its changes, the latest first
-- ARGV[1]  version that must be stored, '' for none
-- ARGV[2]  the new content
-- ARGV[3]  nonce of the new version
-- ARGV[4]  time to live of both, ms
-- ARGV[5]  channel where the new version is published
-- ARGV[6]  record of the change
-- ARGV[7]  most records that are kept
-- Reply: { 1, the new version } or { 0, the stored version or '', its content }
local version, content = stored(KEYS[1])
if version ~= ARGV[1] then return { 0, version, content } end
local count = tonumber(string.match(version, '^%d+') or '0')
local written = whole(count + 1) .. '.' .. ARGV[3]
redis.call('SET', KEYS[1], written .. ' ' .. ARGV[2], 'PX', ARGV[4])
redis.call('LPUSH', KEYS[2], ARGV[6])
redis.call('LTRIM', KEYS[2], 0, ARGV[7] - 1)
keep(KEYS[2], tonumber(ARGV[4]))
redis.call('PUBLISH', ARGV[5], written)
return { 1, written }

-- Asks all processes which version of the rules they hold.
-- KEYS[1]  versions by process
-- ARGV[1]  channel of changes of rules
-- ARGV[2]  the question, '' to ask nothing and read the answers only
-- Reply: processes and versions in turn
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return redis.call('HGETALL', KEYS[1])

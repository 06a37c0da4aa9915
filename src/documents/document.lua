-- Stands in front of the scripts of documents. A document is one string: '<version> <content>', and a
-- version is '<number of writes>.<nonce>'. What has another form counts as no document.
local function stored(key)
  local value = redis.call('GET', key)
  local version, content = string.match(value or '', '^(%d+%.[%w_-]+) (.*)$')
  if not version or #version > 64 then return '', '' end
  return version, content
end

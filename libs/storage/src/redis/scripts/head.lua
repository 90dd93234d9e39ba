-- The head of a log; nothing if there is no such log. KEYS: head, summary
local head = redis.call('HMGET', KEYS[1], 'l', 'e', 'q', 'u')
if not head[1] then
  return {}
end
return {head[1], head[2], head[3], head[4], redis.call('GET', KEYS[2])}

-- Law L3 in one step. KEYS: epoch of the shard, head, records, summary, marks of the shard.
-- ARGV: 1 log, 2 epoch, 3 expected index, 4 token, 5 sequence for a creation or '',
--       6 unfinished: '', '0' or '1', 7 summary or '', 8... records
local head = redis.call('HMGET', KEYS[2], 'l', 'e', 't', 'u')
local last = tonumber(head[1] or '0')
if head[3] == ARGV[4] then
  -- Written once more, so that waiting for replicas covers it on a new connection as well.
  redis.call('HSET', KEYS[2], 't', ARGV[4])
  return {'done'}
end
for _, owner in ipairs({head[2] or '', redis.call('GET', KEYS[1]) or ''}) do
  if ARGV[2] < owner then
    return {'fenced', owner}
  end
end
local found = string.format('%.0f', last + 1)
if ARGV[3] ~= found then
  return {'conflict', found}
end
if not head[1] then
  if ARGV[5] == '' then
    return {'create'}
  end
  local time = redis.call('TIME')
  if time[1] - tonumber(ARGV[5]) / 1000000 > 1800 then
    return {'create'}
  end
end
for i = 8, #ARGV do
  last = last + 1
  redis.call('XADD', KEYS[3], string.format('%.0f-0', last), 'd', ARGV[i])
end
redis.call('HSET', KEYS[2], 'l', string.format('%.0f', last), 'e', ARGV[2], 't', ARGV[4])
if not head[1] then
  redis.call('HSET', KEYS[2], 'q', ARGV[5], 'u', '0')
end
if ARGV[6] ~= '' and ARGV[6] ~= (head[4] or '0') then
  redis.call('HSET', KEYS[2], 'u', ARGV[6])
  redis.call(ARGV[6] == '1' and 'SADD' or 'SREM', KEYS[5], ARGV[1])
end
if ARGV[7] ~= '' then
  redis.call('SET', KEYS[4], ARGV[7])
end
return {head[1] and 'done' or 'created'}

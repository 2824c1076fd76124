"""
What Redis runs as one step, in Lua.

A counter is a hash: slot -> amount. Lua counts in doubles, exact up to 2^53 - 1; amounts are cut there.
"""

# KEYS: one counter a charge. ARGV: slot, first, amount, need, limit, expires_ms of each.
# Gives {refused, oldest, held of each charge}.
#
# When a slot begins, those are forgotten that count no more; not within the length of one more window, and never the
# newest of them, since a gateway whose clock is behind still asks for them.
TAKE = b"""
local WIDTH, MOST = 6, 9007199254740991
local refused, oldest = -1, 0
local answer = {0, 0}

for i, key in ipairs(KEYS) do
  local at = (i - 1) * WIDTH
  local slot, first = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local held, since = 0, slot
  if first == slot then
    held = tonumber(redis.call('HGET', key, ARGV[at + 1]) or '0')
  else
    local slots = redis.call('HGETALL', key)
    for j = 1, #slots, 2 do
      local each, used = tonumber(slots[j]), tonumber(slots[j + 1])
      if each >= first and each <= slot and used > 0 then
        held = held + used
        since = math.min(since, each)
      end
    end
  end
  answer[i + 2] = held
  if refused < 0 and held + tonumber(ARGV[at + 4]) > tonumber(ARGV[at + 5]) then
    refused, oldest = i - 1, since
  end
end

answer[1], answer[2] = refused, oldest
if refused >= 0 then
  return answer
end

local function forget(key, slot, first)
  local behind = {}
  for _, each in ipairs(redis.call('HKEYS', key)) do
    if tonumber(each) < first then
      behind[#behind + 1] = each
    end
  end
  table.sort(behind, function(a, b) return tonumber(a) < tonumber(b) end)
  for j = 1, #behind - 1 do
    if tonumber(behind[j]) < first - (slot - first + 1) then
      redis.call('HDEL', key, behind[j])
    end
  end
end

local function keep_until(key, expires_ms)
  local left_ms = redis.call('PTTL', key)
  local time = redis.call('TIME')
  if left_ms < 0 or time[1] * 1000 + time[2] / 1000 + left_ms < expires_ms then
    redis.call('PEXPIREAT', key, string.format('%.0f', expires_ms))
  end
end

for i, key in ipairs(KEYS) do
  local at = (i - 1) * WIDTH
  local slot, amount = ARGV[at + 1], tonumber(ARGV[at + 3])
  local used = redis.call('HINCRBY', key, slot, ARGV[at + 3])
  if used == amount then
    forget(key, tonumber(slot), tonumber(ARGV[at + 2]))
    keep_until(key, tonumber(ARGV[at + 6]))
  elseif used > MOST then
    redis.call('HSET', key, slot, string.format('%.0f', MOST))
  end
  answer[i + 2] = answer[i + 2] + amount
end
return answer
"""

# KEYS: one counter a charge. ARGV: slot and first of each. Gives what each holds.
READ = b"""
local answer = {}
for i, key in ipairs(KEYS) do
  local slot, first, held = tonumber(ARGV[i * 2 - 1]), tonumber(ARGV[i * 2]), 0
  local slots = redis.call('HGETALL', key)
  for j = 1, #slots, 2 do
    local each = tonumber(slots[j])
    if each >= first and each <= slot then
      held = held + tonumber(slots[j + 1])
    end
  end
  answer[i] = held
end
return answer
"""

# KEYS: the writer, then one counter a correction. ARGV: number of the batch, how long the writer is remembered (ms),
# then slot, delta, expires_ms of each. What is no longer there gets nothing taken away, and nothing goes below 0.
SETTLE = b"""
local WIDTH, MOST = 3, 9007199254740991
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])

for i = 2, #KEYS do
  local key, at = KEYS[i], (i - 2) * WIDTH + 2
  local slot, delta = ARGV[at + 1], tonumber(ARGV[at + 2])
  local before = redis.call('HGET', key, slot)
  if before or delta > 0 then
    local used = math.max(0, math.min(MOST, tonumber(before or '0') + delta))
    redis.call('HSET', key, slot, string.format('%.0f', used))
    if redis.call('PTTL', key) < 0 then
      redis.call('PEXPIREAT', key, ARGV[at + 3])
    end
  end
end
return 1
"""

"""
What the Redis server does for the store, each in one atomic step.

A group has two keys: its head, a hash of ``number`` and ``mark``, and its log, a stream whose ids
are ``<number>-<the server's time in ms>``. So an id tells an entry's place and its age, and the
clocks of the clients do not matter. The log ends by itself when nobody publishes for as long as
entries are kept; the head a day after it was last asked for.
"""

import hashlib
from typing import NamedTuple

__all__ = ["APPEND", "POSITIONS", "READ", "TRIM", "Script"]


class Script(NamedTuple):
    """A script's text, and the digest by which the server knows it once it has had the text."""

    text: str
    digest: str


def _script(text: str) -> Script:
    text = _COMMON + text
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_COMMON = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers of entries and milliseconds are too large for Lua's own way of writing numbers.
local function id(number, ms)
  return string.format('%.0f-%.0f', number, ms)
end

local function place(entry)
  local number, ms = string.match(entry[1], '(%d+)-(%d+)')
  return tonumber(number), tonumber(ms)
end

local function head(key)
  local found = redis.call('HMGET', key, 'number', 'mark')
  return tonumber(found[1] or 0), found[2] or '--------'
end

-- Return the number and the entry at it, or at the oldest one after it.
local function from(log, number)
  local entry = redis.call('XRANGE', log, id(number, 0), '+', 'COUNT', 1)[1]
  if entry then
    local found, ms = place(entry)
    return found, ms, entry
  end
end

-- Return the first number from this one on whose entry is not older than the horizon.
-- Numbers are contiguous and times ascend, so it is found by halving.
local function young(log, number, horizon)
  local low, ms = from(log, number)
  if not low or ms >= horizon then
    return low
  end
  local high, last = place(redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1])
  if last < horizon then
    return nil
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    local _, ms = from(log, middle)
    if ms < horizon then low = middle else high = middle end
  end
  return high
end
"""

#: Keys: the head and the log of each group of each event. Arguments: max_events, the lifetimes of
#: log and head in ms; then for each event how many of the keys are its own, how many entries to
#: search for its mark first, the mark, and the message. Returns as JSON, which a client reads more
#: quickly than Redis's own arrays, for each event and group: number, previous mark, and the
#: message if the entry was there already; false for an event that failed. The errors follow.
APPEND = _script("""
local function find(log, mark, last, depth)
  for first = last, math.max(last - depth + 1, 1), -10 do
    local entries = redis.call('XREVRANGE', log, id(first + 1, 0), id(math.max(first - 9, 1), 0))
    for _, entry in ipairs(entries) do
      if entry[2][2] == mark then
        return {string.format('%.0f', (place(entry))), entry[2][4], entry[2][6]}
      end
    end
  end
end

local max_events, log_ms, head_ms, time = ARGV[1], ARGV[2], ARGV[3], now()

local function add(key, log, depth, mark, message)
  local number, previous = head(key)
  local there = depth > 0 and find(log, mark, number, depth)
  if there then
    return there
  end
  if number == 0 then
    redis.call('DEL', log)  -- Its head is lost, and its numbers begin anew.
  end
  redis.call(
    'XADD', log, 'MAXLEN', '~', max_events, id(number + 1, time),
    'mark', mark, 'previous', previous, 'message', message
  )
  number = string.format('%.0f', number + 1)
  redis.call('HSET', key, 'number', number, 'mark', mark)
  redis.call('PEXPIRE', log, log_ms)
  redis.call('PEXPIRE', key, head_ms)
  return {number, previous}
end

local function add_to_all(first, last, ...)
  local added = {}
  for index = first, last, 2 do
    table.insert(added, add(KEYS[index], KEYS[index + 1], ...))
  end
  return added
end

local answers, errors, first = {}, {}, 1
for index = 4, #ARGV, 4 do
  local count, depth = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
  -- Those beside it have nothing to do with one that fails.
  local is_done, answer = pcall(
    add_to_all, first, first + count - 1, depth, ARGV[index + 2], ARGV[index + 3]
  )
  if not is_done then
    table.insert(errors, type(answer) == 'table' and answer or {err = tostring(answer)})
    answer = false
  end
  table.insert(answers, answer)
  first = first + count
end
return {cjson.encode(answers), unpack(errors)}
""")

#: Keys: the head and the log. Arguments: the number to go on after, the limit, the greatest age in
#: ms. Returns the head's number and mark, and the entries.
READ = _script("""
local after, limit = tonumber(ARGV[1]), ARGV[2]
local number, mark = head(KEYS[1])
local first = after < number and young(KEYS[2], after + 1, now() - ARGV[3])
if not first then
  return {number, mark, {}}
end
return {number, mark, redis.call('XRANGE', KEYS[2], id(first, 0), '+', 'COUNT', limit)}
""")

#: Keys: the head and the log of each group. Arguments: how many entries back, -1 for all, the
#: greatest age and the lifetime of a head in ms. Returns a number and a mark for each group.
POSITIONS = _script("""
local back, horizon = tonumber(ARGV[1]), now() - ARGV[2]
local places = {}
for index = 1, #KEYS, 2 do
  local key, log = KEYS[index], KEYS[index + 1]
  local number, mark = head(key)
  redis.call('PEXPIRE', key, ARGV[3])  -- Open streams ask: they must not see it forgotten.
  if back ~= 0 and number > 0 then
    local first = young(log, back < 0 and 1 or math.max(number - back + 1, 1), horizon)
    if first then
      local _, _, entry = from(log, first)
      number, mark = first - 1, entry[2][4]
    end
  end
  table.insert(places, {number, mark})
end
return places
""")

#: Keys: the log. Arguments: max_events, the greatest age in ms.
TRIM = _script("""
local log = KEYS[1]
redis.call('XTRIM', log, 'MAXLEN', '=', ARGV[1])
local first = young(log, 1, now() - ARGV[2])
if first then
  redis.call('XTRIM', log, 'MINID', '=', id(first, 0))
else
  redis.call('DEL', log)
end
""")

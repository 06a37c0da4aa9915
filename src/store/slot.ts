/** CRC16 (XMODEM) of each byte, as the Redis Cluster specification defines it. */
const TABLE = new Uint16Array(256).map((_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

/** Returns the Cluster hash slot of a key: CRC16 of its hash tag, modulo 16,384. Keys are ASCII (keys.ts). */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  const [from, to] = close > open + 1 ? [open + 1, close] : [0, key.length]
  let crc = 0
  for (let i = from; i < to; i++)
    crc = ((crc << 8) ^ TABLE[((crc >> 8) ^ key.charCodeAt(i)) & 0xff]!) & 0xffff
  return crc & 16_383
}

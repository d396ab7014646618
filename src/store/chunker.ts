import * as crypto from 'node:crypto'

/** How large objects are cut, as a store's mlv.json records it. Part of the format for ever: other numbers cut elsewhere, and nothing would be shared.
 *
 *  FastCDC with normalized chunking of level 2 (Xia et al., "FastCDC", USENIX ATC 2016, and "The Design of Fast Content-Defined Chunking",
 *  IEEE TPDS 2020). For a chunk whose first byte lies at `s`, with `hash` 0 at first, each byte from `s + min` on does
 *
 *      hash = (hash × 2 + gear[byte]) mod 2^32
 *
 *  and the chunk ends behind byte `i` when `hash & mask` is zero, where the mask is 0x7ffffe00 (22 bits) for `i < s + normal` and 0x7fffe000
 *  (18 bits) from there on, or when it is `max` long, or with the data. `gear[b]` is the first four bytes, as a big-endian number, of the
 *  SHA-256 of the ASCII text `mlv gear B`, where B is b in decimals.
 *
 *  On random data chunks are 1.17 MiB on average, and four bytes of ten are never looked at. The top bit is in no mask so that two bytes
 *  can be taken in one step, as the paper of 2020 does. */
export const CHUNKING = {
  algorithm: 'fastcdc-gear32',
  min: 512 * 1024,
  normal: 1024 * 1024,
  max: 4 * 1024 * 1024,
} as const

/** How a chunk is cut: lengths in bytes, and the masks of the formula above. */
interface Cutting {
  min: number
  normal: number
  max: number
  maskBeforeNormal: number
  maskFromNormal: number
}

const FINE: Cutting = { ...CHUNKING, maskBeforeNormal: 0x7ffffe00, maskFromNormal: 0x7fffe000 }

/** Longer chunks for the far parts of huge objects, 23 MiB on average, with masks of 26 and 22 bits. */
const COARSE: Cutting = {
  min: 16 << 20,
  normal: 20 << 20,
  max: 30 << 20,
  maskBeforeNormal: 0x7fffffe0,
  maskFromNormal: 0x7ffffe00,
}

/** Chunks that begin here and later are coarse, so that a recipe fits one pack whatever the bytes: of an object of 5 TiB at most 98,304 chunks of
 *  512 KiB and 324,608 of 16 MiB, in lines of 72 and 74 bytes, 29.7 MiB in all. The place decides and not the size, which a stream does not tell. */
export const COARSE_FROM = 48 * 2 ** 30

/** The longest chunk there is. */
export const LONGEST_CHUNK = COARSE.max

/** Cuts a stream into chunks. It is fed the bytes in pieces of any size, keeps none of them, and the cuts do not depend on the pieces. */
export interface Cutter {
  /** lengths of the chunks that end inside the bytes pushed so far and have not been told yet */
  push(bytes: Uint8Array): number[]
  /** the length of the last chunk, which ends with the data; undefined when nothing is left. The cutter can then take another stream. */
  end(): number | undefined
}

/** @param coarseFrom other than in the format: for tests, which cannot make objects that large */
export function createCutter(coarseFrom = COARSE_FROM): Cutter {
  scanner ??= createScan()
  const scan = scanner
  const rolling: Rolling = new Int32Array(1)
  let start = 0
  let length = 0
  let cutting = coarseFrom > 0 ? FINE : COARSE

  function restart(): number {
    const ended = length
    start += length
    length = 0
    rolling[0] = 0
    cutting = start < coarseFrom ? FINE : COARSE
    return ended
  }

  return {
    push(bytes) {
      const lengths: number[] = []
      for (let from = 0; from < bytes.length; ) {
        const { min, normal, max } = cutting
        if (length < min) {
          const skipped = Math.min(bytes.length - from, min - length)
          length += skipped
          from += skipped
          continue
        }
        const early = length < normal
        const to = Math.min(bytes.length, from + (early ? normal : max) - length)
        const cut = scan(rolling, bytes, from, to, early ? cutting.maskBeforeNormal : cutting.maskFromNormal)
        const at = cut === NO_CUT ? to : cut
        length += at - from
        from = at
        if (cut !== NO_CUT || length === max) lengths.push(restart())
      }
      return lengths
    },
    end() {
      const last = restart() || undefined
      start = 0
      cutting = coarseFrom > 0 ? FINE : COARSE
      return last
    },
  }
}

/** The hash, carried from piece to piece. An array of one, because V8 keeps its 32 bits unboxed. */
type Rolling = Int32Array

/** Hashes from `from` to `to`. @returns the offset behind the first cut, or NO_CUT with the hash left in `rolling` */
type Scan = (rolling: Rolling, bytes: Uint8Array, from: number, to: number, mask: number) => number

const NO_CUT = -1

let scanner: Scan | undefined

/** The one scanner. Made by the first cutter, because most commands cut nothing and the table's 256 hashes take half a millisecond.
 *  A closure made once over constant tables: so V8 compiles it once, knows the tables' length and leaves out the bounds checks
 *  (2.2 to 2.9 GiB/s of data on one core, against 1.5 to 1.9 in other shapes). The loop in WebAssembly gained a third, SHA-256 is slower than either. */
function createScan(): Scan {
  const gear = Int32Array.from({ length: 256 }, (_, byte) =>
    crypto.createHash('sha256').update(`mlv gear ${byte}`).digest().readInt32BE(0),
  )
  const gearDoubled = gear.map((value) => value << 1)

  return (rolling, bytes, from, to, mask) => {
    const doubled = mask << 1
    const pairs = to - 1
    let hash = rolling[0]!
    let at = from
    while (at < pairs) {
      // Twice the hash behind the first byte, tested with twice the mask: one shift less for every two bytes.
      hash = ((hash << 2) + gearDoubled[bytes[at]!]!) | 0
      if ((hash & doubled) === 0) return at + 1
      hash = (hash + gear[bytes[at + 1]!]!) | 0
      if ((hash & mask) === 0) return at + 2
      at += 2
    }
    if (at < to) {
      hash = ((hash << 1) + gear[bytes[at]!]!) | 0
      if ((hash & mask) === 0) return to
    }
    rolling[0] = hash
    return NO_CUT
  }
}

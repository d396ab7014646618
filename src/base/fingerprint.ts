import xxhash from 'xxhash-wasm'

type Xxh64 = (name: string, seed: bigint) => bigint

let loaded: { text: Xxh64; create: () => { update(bytes: Uint8Array): unknown; digest(): bigint } } | undefined

/** Loads the hash once; it is WebAssembly, so loading is asynchronous. */
export async function loadFingerprint(): Promise<void> {
  if (loaded) return
  const api = await xxhash()
  loaded = { text: (name, seed) => api.h64(name, seed), create: () => api.create64() }
}

function api() {
  if (!loaded) throw new Error('loadFingerprint() must be awaited first')
  return loaded
}

/** xxh64 of a text's UTF-8 bytes. A hint for "did it change?" and for cutting pages, never an identity. */
export function xxh64(text: string, seed: bigint): bigint {
  return api().text(text, seed)
}

/** A streaming xxh64 with seed 0. */
export function createXxh64(): { update(bytes: Uint8Array): unknown; digest(): bigint } {
  return api().create()
}

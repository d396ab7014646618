import xxhash from 'xxhash-wasm'

type Xxh64 = (name: string, seed: bigint) => bigint

let loaded: Xxh64 | undefined

/** Loads the hash once; it is WebAssembly, so loading is asynchronous. */
export async function loadFingerprint(): Promise<void> {
  if (loaded) return
  const api = await xxhash()
  loaded = (name, seed) => api.h64(name, seed)
}

/** xxh64 of a text's UTF-8 bytes. A hint for "did it change?" and for cutting pages, never an identity. */
export function xxh64(text: string, seed: bigint): bigint {
  if (!loaded) throw new Error('loadFingerprint() must be awaited first')
  return loaded(text, seed)
}

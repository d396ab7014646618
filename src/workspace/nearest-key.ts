/** @returns the known key with the same last part, or the one that shares the longest start and end with it */
export function nearestKey(typed: string, known: string[]): string | undefined {
  const common = (a: string, b: string) => {
    let start = 0
    while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++
    let end = 0
    while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
    return start + end
  }
  const name = typed.split('.')
  const key = name[0] === 'remotes' && name.length === 3 ? `remotes.NAME.${name[2]}` : typed
  const ranked = known
    .map((item) => ({ item, share: common(key, item) / Math.max(key.length, item.length) }))
    .sort((a, b) => b.share - a.share)
  const best = ranked[0]
  const close = best && best.share >= 0.7 ? best.item.replace('NAME', name[1] ?? 'NAME') : undefined
  // The very same: the name of the remote is what is wrong.
  return close === typed ? undefined : close
}

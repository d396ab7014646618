/** Edit distance with the last row kept (Wagner and Fischer, 1974). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]!
}

/** @returns the name closest to a mistyped one, when one is close enough to be meant */
export function nearest(typed: string, names: string[]): string | undefined {
  let best: string | undefined
  let least = Math.min(3, Math.ceil(typed.length / 2) + 1)
  for (const name of names) {
    const steps = distance(typed, name)
    if (steps < least) {
      least = steps
      best = name
    }
  }
  return best
}

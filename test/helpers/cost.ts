/** CPU time of the least costly of a few runs, in µs: to be compared with that of other work in the same process, since a clock tells how busy the machine is. */
export function costOf(work: () => unknown): number {
  let least = Number.POSITIVE_INFINITY
  for (let run = 0; run < 5; run++) {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, user + system)
  }
  return Math.max(least, 1)
}

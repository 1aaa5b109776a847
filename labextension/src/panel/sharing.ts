/** Keeps what did not change between two snapshots, so that what draws it need not draw it again. */

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function keptList(old: readonly unknown[], fresh: readonly unknown[]): readonly unknown[] {
  const merged = fresh.map((item, index) => kept(old[index], item));
  return merged.length === old.length && merged.every((item, index) => item === old[index]) ? old : merged;
}

function keptRecord(old: Record<string, unknown>, fresh: Record<string, unknown>): Record<string, unknown> {
  const before = new Map(Object.entries(old));
  const merged = Object.entries(fresh).map(([name, value]): [string, unknown] => [name, kept(before.get(name), value)]);
  const same = merged.length === before.size && merged.every(([name, value]) => before.has(name) && Object.is(before.get(name), value));
  return same ? old : Object.fromEntries(merged);
}

/** `fresh`, with every part of `old` in its place that equals it. Both are plain data, as JSON has it. */
export function kept<T>(old: unknown, fresh: T): T;
export function kept(old: unknown, fresh: unknown): unknown {
  if (Object.is(old, fresh)) {
    return old;
  }
  if (Array.isArray(old) && Array.isArray(fresh)) {
    return keptList(old, fresh);
  }
  return isRecord(old) && isRecord(fresh) ? keptRecord(old, fresh) : fresh;
}

/** Which rows of a table show their details: remembered while the panel lives, whatever snapshots come. */

import React from 'react';

export function useOpenRows(): [ReadonlySet<string>, (id: string) => void] {
  const [open, setOpen] = React.useState<ReadonlySet<string>>(new Set<string>());
  const toggle = React.useCallback((id: string) => {
    setOpen(before => {
      const after = new Set(before);
      if (!after.delete(id)) {
        after.add(id);
      }
      return after;
    });
  }, []);
  return [open, toggle];
}

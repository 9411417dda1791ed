// Package bench measures what docs/PERFORMANCE.md and docs/INGEST.md report: how fast films are
// decoded, prepared, encoded and searched, beside other programs in the same run, and how much
// burned-in text is left in films that the user names. Each measurement is a function of its
// configuration that returns figures with stable JSON names; `radstream bench` prints them.
package bench

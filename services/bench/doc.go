// Package bench measures what Radstream guarantees, on films that the user names, and its index. Each
// measurement is a function of its configuration that returns figures with stable JSON names;
// `radstream bench` prints them.
package bench

"""The rows of the 14 tasks, by what is heard: whole songs, tags of songs, single sounds, and the stems of a mixture.

Settings are those of MARBLE v1 (facts of its configs/mert/MERT-v1-95M and tasks/*), which the published numbers come from; where
its paper and its code disagree, the row says what is done here and, where the other reading changes a number, offers it.
"""

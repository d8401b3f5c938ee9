// The other name under which a file is written before it takes its own, and what is left of it when its writer was killed.
//
//   FILE.partPID-COUNT      PID and COUNT in decimal digits
#pragma once

#include <string>

namespace qjl {

// A name that no other call in this process has had.
std::string new_part_name(const std::string& path);

// To be held by the writer for as long as a part is open, so that whoever counts processes in another way (a container, another
// machine) sees that somebody is there.
void hold_part(int file);

// Removes parts of this file whose writer is gone: no process has its number and nobody holds the part. Names of any other form stay.
// What cannot be removed stays: the file that is about to be written does not depend on it.
void sweep_stale_parts(const std::string& path);

}  // namespace qjl

"""Does a camera still see what it saw in the demonstrations, and does the arm start where it did then?"""
